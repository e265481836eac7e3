import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join, relative, sep } from 'node:path'
import { assert } from '../../../engine/assert.js'
import { type Headers, mergeHeaders, type PackedHeaders, packHeaders, securityHeaders, statusLine } from './headers.js'
import { endHead, endInStep } from './send.js'
import { singleHeadersOf } from './single-headers.js'

const STATIC_FILES_MAX = 1_000
const STATIC_BYTES_MAX = 64 * 1024 * 1024

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.webp': 'image/webp',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
}

export interface StaticOptions {
  /** Begins with a slash and has none at its end; '' serves from the root. */
  readonly urlPrefix: string
  /** Files by name below the prefix; `index.html` also answers for its folder. Given instead of `directory`. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>
  /** Every file below this directory is read once, at start. */
  readonly directory?: string
  /** Added to every answer, such as a content security policy. */
  readonly headers?: Headers
}

/**
 * Serves files from memory. Each is a route of its own, found by its exact URL, so a path that climbs out of the
 * directory cannot be expressed. Browsers keep them but ask whether they changed (ETag).
 */
export function serveStatic(app: TemplatedApp, { urlPrefix, files, directory, headers = {} }: StaticOptions): void {
  const all = { ...(directory === undefined ? {} : filesBelow(directory)), ...files }
  const names = Object.keys(all)
  assert(names.length <= STATIC_FILES_MAX, `more than ${STATIC_FILES_MAX} static files at ${urlPrefix}`)
  for (const [name, content] of Object.entries(all)) {
    const file = prepare(name, Buffer.from(content), headers)
    for (const url of urlsOf(urlPrefix, name)) {
      app.get(url, (res, req) => answer(res, req, file, false))
      app.head(url, (res, req) => answer(res, req, file, true))
    }
    const folder = folderOf(urlPrefix, name)
    if (folder !== undefined && folder !== '')
      app.get(folder, (res, req) => redirect(res, req, `${folder.split('/').at(-1)}/`))
  }
}

interface StaticFile {
  readonly bytes: Buffer
  readonly etag: string
  readonly headers: PackedHeaders
}

function prepare(name: string, bytes: Buffer, headers: Headers): StaticFile {
  const type = contentTypes[extname(name)]
  assert(type !== undefined, `no content type is known for the static file ${name}`)
  const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`
  const own = { 'content-type': type, ...securityHeaders, 'cache-control': 'no-cache', etag }
  return { bytes, etag, headers: mergeHeaders(packHeaders(own), headers) }
}

function answer(res: HttpResponse, req: HttpRequest, { bytes, etag, headers }: StaticFile, headOnly: boolean): void {
  if (singleHeadersOf(req).repeated !== undefined) return void res.close()
  const known = req
    .getHeader('if-none-match')
    .split(/\s*,\s*/)
    .includes(etag)
  if (known) res.writeStatus(statusLine(304))
  res.writeHeader(headers.name, headers.value)
  if (known) {
    res.endWithoutBody()
  } else if (headOnly) {
    endHead(res, bytes.length)
  } else {
    res.onAborted(() => {})
    endInStep(res, bytes, () => {})
  }
}

/** A folder without its closing slash would resolve the relative URLs of its page wrongly. */
function redirect(res: HttpResponse, req: HttpRequest, location: string): void {
  if (singleHeadersOf(req).repeated !== undefined) return void res.close()
  res.writeStatus(statusLine(308)).writeHeader('location', location).endWithoutBody(0)
}

function urlsOf(prefix: string, name: string): string[] {
  const folder = folderOf(prefix, name)
  return folder === undefined ? [`${prefix}/${name}`] : [`${prefix}/${name}`, `${folder}/`]
}

/** The folder `name` is the page of, if it is one. */
function folderOf(prefix: string, name: string): string | undefined {
  return /(^|\/)index\.html$/.test(name) ? `${prefix}/${name}`.slice(0, -'/index.html'.length) : undefined
}

function filesBelow(directory: string): Record<string, Buffer> {
  const files: Record<string, Buffer> = {}
  let size = 0
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const content = readFileSync(path)
    size += content.length
    assert(size <= STATIC_BYTES_MAX, `more than ${STATIC_BYTES_MAX} bytes of static files in ${directory}`)
    files[relative(directory, path).split(sep).join('/')] = content
  }
  return files
}
