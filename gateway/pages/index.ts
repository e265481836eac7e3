import type { TemplatedApp } from 'uWebSockets.js'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { serveStatic } from '../http/toolkit/static.js'

const built = import.meta.dirname
/** Where the sources are: this code runs from `dist/gateway/pages`. */
const sources = join(built, '..', '..', '..', 'gateway', 'pages')

/** By name: the live page at `/` and all it needs. */
const livePageFiles = {
  'index.html': join(sources, 'live', 'index.html'),
  'base.css': join(sources, 'base.css'),
  'live.css': join(sources, 'live', 'live.css'),
  'live.js': join(built, 'live', 'live.browser.js'),
}

/** By name: the page at `/chat/`. */
const chatPageFiles = {
  'index.html': join(sources, 'chat', 'index.html'),
  'chat.css': join(sources, 'chat', 'chat.css'),
  'messages.css': join(sources, 'chat', 'messages.css'),
  'chat.js': join(built, 'chat', 'chat.browser.js'),
}

/** Only what comes from this server runs or is fetched; the sockets are named for browsers that need it. */
function contentSecurityPolicy(pictureHosts: readonly string[]): string {
  const pictures = pictureHosts.flatMap((host) => [`https://${host}`, `https://*.${host}`])
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    ["img-src 'self' data:", ...pictures].join(' '),
    "connect-src 'self' ws: wss:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/**
 * Serves the pages; reads them once, so a missing build is noticed at start. Pictures in the chat come from
 * `pictureHosts` and their subdomains only.
 */
export function servePages(app: TemplatedApp, pictureHosts: readonly string[] = []): void {
  const page = (urlPrefix: string, files: Readonly<Record<string, string>>, hosts: readonly string[]) => {
    const contents = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, readFileSync(file)]))
    const headers = { 'content-security-policy': contentSecurityPolicy(hosts) }
    serveStatic(app, { urlPrefix, files: contents, headers })
  }
  page('', livePageFiles, [])
  page('/chat', chatPageFiles, pictureHosts)
}
