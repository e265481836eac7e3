/** `comptroller codes generate|export|import`: batches of codes through the API of a running server. */
import { createReadStream, createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { z } from 'zod'
import { type ApiClient, CliError } from './api.js'
import { withProgress } from './progress.js'

const POLL_MS = 200
const STALLED_MS = 30_000
const created = z.object({ batch_id: z.number(), code_count: z.number() })
const batches = z.object({
  batches: z.array(z.object({ batch_id: z.number(), status: z.string(), generated_count: z.number() })),
})
const feedback = z.object({
  manufactured: z.number(),
  already: z.number(),
  unknown: z.number(),
  invalid: z.number(),
})

/** Creates a batch and waits until every code is there. */
export async function generateCodes(
  api: ApiClient,
  batch: { name: string; quantity: number; product_sku: string },
): Promise<number> {
  const { batch_id: id, code_count: quantity } = await api.post('/v1/admin/qr/generate', batch, created)
  await withProgress('Generating codes', quantity, async (to) => {
    let generated = 0
    let movedAt = Date.now()
    while (generated < quantity) {
      await wait(POLL_MS)
      const list = await api.get('/v1/admin/qr/batches', batches)
      const now = list.batches.find(({ batch_id }) => batch_id === id)?.generated_count ?? 0
      if (now > generated) movedAt = Date.now()
      else if (Date.now() - movedAt > STALLED_MS)
        throw new CliError(`Batch ${id} stands still at ${now}; see the server log.`)
      generated = now
      to(generated)
    }
  })
  return id
}

/** The CSV of a batch as a stream of bytes. */
export async function exportCodes(api: ApiClient, batch: number): Promise<Readable> {
  const response = await api.request(
    'POST',
    '/v1/admin/qr/export',
    JSON.stringify({ batch_id: batch }),
    'application/json',
  )
  return Readable.fromWeb(response.body as never)
}

export async function exportCodesTo(api: ApiClient, batch: number, file: string | undefined): Promise<void> {
  await pipeline(await exportCodes(api, batch), file === undefined ? process.stdout : createWriteStream(file))
}

/** Sends the manufacturer's CSV; its codes become active. */
export async function importFeedback(api: ApiClient, csv: Readable) {
  const body = Readable.toWeb(csv) as ReadableStream
  const response = await api.request('POST', '/v1/admin/qr/import-feedback', body, 'text/csv')
  return feedback.parse(await response.json())
}

export async function importFeedbackFrom(api: ApiClient, file: string) {
  const { size } = await stat(file)
  return withProgress('Sending', size, (to) => {
    let sent = 0
    const counted = new Transform({
      transform(chunk: Buffer, _, done) {
        sent += chunk.length
        to(sent)
        done(null, chunk)
      },
    })
    return importFeedback(api, createReadStream(file).pipe(counted))
  })
}
