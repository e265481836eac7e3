import type { TemplatedApp } from 'uWebSockets.js'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { commonErrors, unmatchedErrors } from './openapi.js'
import type { Route, RouteError } from './route.js'
import { serveStatic } from './static.js'

const swaggerFiles = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']

/** Swagger UI sets style attributes and inline images; everything else comes from here or not at all. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** The document stands beside the folder of this page, wherever a proxy mounts both. */
const startScript = `const here = document.currentScript.src
SwaggerUIBundle({
  url: new URL('../openapi.json', here).href,
  dom_id: '#ui',
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
})
`

const style = `body { margin: 0; background: #fafafa; color: #1b1b1b; font: 16px/1.5 system-ui, sans-serif }
main.codes { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
dt { margin-top: 1rem; font-weight: 600 }
dt:target { background: #fff3c4 }
dd { margin: 0 }
`

/** Serves the interactive documentation at /docs and the list of error codes at /docs/errors, both without the net. */
export function serveDocs(app: TemplatedApp, routes: readonly Route[], title: string): void {
  const swagger = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  const files: Record<string, string | Uint8Array> = {
    'index.html': docsPage(title),
    'errors/index.html': errorsPage(title, routes),
    'start.js': startScript,
    'docs.css': style,
  }
  for (const name of swaggerFiles) files[name] = readFileSync(join(swagger, name))
  serveStatic(app, { urlPrefix: '/docs', files, headers: { 'content-security-policy': contentSecurityPolicy } })
}

function docsPage(title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<link rel="icon" href="favicon-32x32.png">
<link rel="stylesheet" href="swagger-ui.css">
<link rel="stylesheet" href="docs.css">
</head>
<body>
<div id="ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="start.js"></script>
</body>
</html>
`
}

function errorsPage(title: string, routes: readonly Route[]): string {
  const byCode = new Map<string, RouteError[]>()
  const documented = routes.flatMap((route) => [...commonErrors(route), ...(route.errors ?? [])])
  for (const error of [...unmatchedErrors, ...documented]) {
    const known = byCode.get(error.code) ?? []
    if (!known.some(({ status, when }) => status === error.status && when === error.when)) known.push(error)
    byCode.set(error.code, known)
  }
  const entries = [...byCode]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([code, errors]) => {
      const meanings = errors.map(({ status, when }) => `<dd>${status}: ${escaped(when)}</dd>`).join('')
      return `<dt id="${escaped(code)}"><code>${escaped(code)}</code></dt>${meanings}`
    })
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}: error codes</title>
<link rel="icon" href="../favicon-32x32.png">
<link rel="stylesheet" href="../docs.css">
</head>
<body>
<main class="codes">
<h1>Error codes</h1>
<dl>${entries.join('\n')}</dl>
</main>
</body>
</html>
`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
