import type { TemplatedApp } from 'uWebSockets.js'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { assert } from '../../engine/assert.js'
import { serveStatic } from '../http/toolkit/static.js'

const built = import.meta.dirname
/** Where the sources are: this code runs from `dist/gateway/pages`. */
const sources = join(built, '..', '..', '..', 'gateway', 'pages')

export interface PageFile {
  readonly url: string
  readonly file: string
  readonly contentType: string
}

/** The live page at `/` and all it needs. */
export const livePageFiles: readonly PageFile[] = [
  { url: '/', file: join(sources, 'live', 'index.html'), contentType: 'text/html; charset=utf-8' },
  { url: '/live.css', file: join(sources, 'live', 'live.css'), contentType: 'text/css; charset=utf-8' },
  { url: '/live.js', file: join(built, 'live', 'live.browser.js'), contentType: 'text/javascript; charset=utf-8' },
]

/** Only what comes from this server runs or is fetched; the sockets are named for browsers that need it. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self' ws: wss:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** Serves the pages; reads them once, so a missing build is noticed at start. */
export function servePages(app: TemplatedApp): void {
  const files = Object.fromEntries(livePageFiles.map(({ url, file }) => [nameOf(url), readFileSync(file)]))
  serveStatic(app, { urlPrefix: '', files, headers: { 'content-security-policy': CONTENT_SECURITY_POLICY } })
}

function nameOf(url: string): string {
  assert(url.startsWith('/'), `${url} is not a path`)
  return url === '/' ? 'index.html' : url.slice(1)
}
