/** The sockets, described as the routes are in `/openapi.json`. */
import { asyncApiDocument, type SocketApiInfo } from '../sockets/asyncapi.js'
import { defineRoute, type Route } from './toolkit/route.js'

export function socketDocsRoutes(info: SocketApiInfo): Route[] {
  const document = JSON.stringify(asyncApiDocument(info))
  return [
    defineRoute({
      method: 'GET',
      path: '/asyncapi.json',
      who: 'public',
      tag: 'Operations',
      summary: 'The chat over sockets as an AsyncAPI 3.0 document',
      response: { stream: 'application/json' },
      handle: () => document,
    }),
  ]
}
