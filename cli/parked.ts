/** `comptroller parked list|show|retry`: rows that Postgres refused, through the API of a running server. */
import { z } from 'zod'
import { type ApiClient, CliError } from './api.js'

const PAGE_ROWS = 100
const list = z.object({ rows: z.array(z.looseObject({})), next_cursor: z.string().nullable() })
const one = z.object({ resolved: z.number(), error_code: z.string().nullable(), error: z.string().nullable() })
const all = z.object({ resolved: z.number(), refused: z.number(), next_cursor: z.string().nullable() })

const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)

/** One JSON line a row, oldest first. */
export async function listParkedRows(api: ApiClient, state: 'parked' | 'resolved'): Promise<void> {
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: z.output<typeof list> = await api.get(
      `/v1/admin/parked-rows?state=${state}&limit=${PAGE_ROWS}${cursor === '' ? '' : `&cursor=${cursor}`}`,
      list,
    )
    page.rows.forEach(print)
    cursor = page.next_cursor
  }
}

export async function showParkedRow(api: ApiClient, id: number): Promise<void> {
  print(await api.get(`/v1/admin/parked-rows/${id}`, z.looseObject({})))
}

/** Fails when the row stays parked. */
export async function retryParkedRow(api: ApiClient, id: number): Promise<void> {
  const { resolved, error_code: code, error } = await api.post(`/v1/admin/parked-rows/${id}/retry`, {}, one)
  print({ resolved })
  if (error !== null) throw new CliError(`It stays parked: ${error} (${code})`)
}

/** Fails when rows stay parked. */
export async function retryAllParkedRows(api: ApiClient): Promise<void> {
  const total = { resolved: 0, refused: 0 }
  for (let cursor: string | null = '0'; cursor !== null; ) {
    const part: z.output<typeof all> = await api.post('/v1/admin/parked-rows/retry', { cursor }, all)
    total.resolved += part.resolved
    total.refused += part.refused
    cursor = part.next_cursor
  }
  print(total)
  if (total.refused > 0) throw new CliError('Some stay parked; `comptroller parked list` says why.')
}
