// Requests nobody should send, made from the server's own OpenAPI document: a new route is attacked without anybody
// thinking of it. JSON is made as text, because much of what hurts cannot be said with JSON.stringify.
import fc from 'fast-check'
import {
  hostileJson,
  hostileQueries,
  hostileSegments,
  json,
  notJson,
  often,
  otherMethods,
  seldom,
  utf8,
} from './hostile-values.js'

export interface Schema {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly format?: string
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly $ref?: string
}

interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Schema
}

interface OpenApiOperation {
  readonly security: readonly object[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly responses: Readonly<Record<string, { readonly description: string }>>
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OpenApiOperation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

export interface Operation {
  readonly method: string
  readonly path: string
  readonly parameters: readonly Parameter[]
  readonly contentType: string | undefined
  readonly body: Schema | undefined
  /** What may be answered, with the codes each refusal may carry. */
  readonly documented: ReadonlyMap<number, string>
}

/** The last two have tokens that were good once. */
export type Caller = 'anonymous' | 'member' | 'admin' | 'suspended' | 'logged out'

/** One request; the token of its caller is filled in when it is sent. */
export interface FuzzRequest {
  readonly caller: Caller
  readonly operation: Operation
  readonly method: string
  /** Latin-1, so that any bytes can be in it. */
  readonly target: string
  /** `authorization` is among them when it is not the caller's own. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Latin-1, too. */
  readonly body: string | undefined
  readonly framing: 'length' | 'chunked'
}

/** Words a property of a name is likely to be taken for good with. */
export type Words = Readonly<Record<string, fc.Arbitrary<string | number>>>

export function operationsOf(document: Document): Operation[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const [contentType, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? []
      return {
        method: method.toUpperCase(),
        path,
        parameters: operation.parameters ?? [],
        contentType,
        body: content?.schema,
        documented: new Map(
          Object.entries(operation.responses).map(([s, { description }]) => [Number(s), description]),
        ),
      }
    }),
  )
}

/** Just within and just outside of what a schema allows. */
function edgesOf({ minLength = 0, maxLength, minimum, maximum, type }: Schema): fc.Arbitrary<string> {
  const edges: string[] = []
  if (type === 'string' && maxLength !== undefined) {
    edges.push(json('x'.repeat(maxLength)), json('x'.repeat(maxLength + 1)), json('𝒳'.repeat(maxLength)))
  }
  if (minLength > 0) edges.push(json('1'.repeat(minLength - 1)), json(' '.repeat(minLength)))
  if (minimum !== undefined) edges.push(`${minimum}`, `${minimum - 1}`, `${minimum}.5`)
  if (maximum !== undefined) edges.push(`${maximum + 1}`, `${maximum}.5`)
  return edges.length === 0 ? hostileJson : fc.constantFrom(...edges)
}

/** Makes arbitraries of schemas, knowing a few words that make requests get far. */
export class Attacker {
  constructor(
    readonly document: Document,
    readonly words: Words,
  ) {}

  /** A JSON text that mostly fits the schema; any of its parts may not. */
  value(schema: Schema, name = ''): fc.Arbitrary<string> {
    return fc.oneof(often(this.#fitting(schema, name)), seldom(hostileJson), seldom(edgesOf(schema)))
  }

  body({ body, contentType }: Operation): fc.Arbitrary<string | undefined> {
    if (body === undefined) return fc.oneof(often(fc.constant(undefined)), seldom(hostileJson))
    const fitting = contentType === 'application/json' ? this.value(body).map(utf8) : csv(this.words.code)
    const hostile = hostileJson.map(utf8)
    return fc.oneof(often(fitting, 20), seldom(hostile), seldom(notJson), seldom(fc.constant(undefined)))
  }

  request(operation: Operation): fc.Arbitrary<FuzzRequest> {
    return fc
      .record({
        caller: fc.oneof(
          often(fc.constantFrom<Caller>('admin', 'member', 'anonymous'), 10),
          seldom(fc.constantFrom<Caller>('suspended', 'logged out')),
        ),
        method: fc.oneof(often(fc.constant(operation.method), 20), seldom(fc.constantFrom(...otherMethods))),
        target: this.#target(operation),
        headers: headersOf(operation),
        body: this.body(operation),
        framing: fc.constantFrom<'length' | 'chunked'>('length', 'length', 'length', 'chunked'),
      })
      .map((parts) => ({ operation, ...parts }))
  }

  #target({ path, parameters }: Operation): fc.Arbitrary<string> {
    const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '')
    const segments = names.map((name) => {
      const schema = parameters.find((parameter) => parameter.name === name)?.schema ?? {}
      const fitting = this.#fitting(schema, name).map((text) => encodeURIComponent(plain(text)))
      return fc.oneof(often(fitting), seldom(fc.constantFrom(...hostileSegments)), seldom(hostileJson.map(shortened)))
    })
    const queries = parameters
      .filter((parameter) => parameter.in === 'query')
      .map(({ name, schema }) => {
        const given = this.value(schema, name).map((text) => `${name}=${shortened(text)}`)
        return fc.oneof(often(given, 3), seldom(fc.constant('')), seldom(given.map((text) => `${text}&${text}`)))
      })
    const extra = fc.oneof(often(fc.constant('')), seldom(fc.constantFrom(...hostileQueries)))
    return fc.tuple(fc.tuple(...segments), fc.tuple(...queries, extra)).map(([values, given]) => {
      let next = 0
      const filled = path.replace(/\{\w+\}/g, () => values[next++] ?? '')
      const query = given.filter(Boolean).join('&')
      return query === '' ? filled : `${filled}?${query}`
    })
  }

  #fitting(schema: Schema, name: string): fc.Arbitrary<string> {
    const word = this.words[name]
    if (word !== undefined) return word.map(json)
    const known = schema.$ref?.split('/').at(-1)
    if (known !== undefined) return this.#fitting(this.document.components.schemas[known] ?? {}, name)
    const choices = schema.anyOf ?? schema.oneOf
    if (choices !== undefined) return fc.oneof(...choices.map((choice) => this.#fitting(choice, name)))
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum.map(json))
    if (schema.const !== undefined) return fc.constant(json(schema.const))
    switch (schema.type) {
      case 'object':
        return this.#object(schema)
      case 'array':
        return fc
          .array(this.value(schema.items ?? {}, name.replace(/s$/, '')), { maxLength: 5 })
          .map((items) => `[${items.join(',')}]`)
      case 'string':
        return fittingString(schema).map(json)
      case 'integer':
      case 'number':
        return fc.constantFrom(schema.minimum ?? 0, schema.minimum ?? 1, (schema.minimum ?? 1) + 1).map(json)
      case 'boolean':
        return fc.constantFrom('true', 'false')
      default:
        return hostileJson
    }
  }

  #object({ properties = {}, required = [] }: Schema): fc.Arbitrary<string> {
    const members = Object.entries(properties).map(([name, schema]) => {
      const member = this.value(schema, name).map((text) => `${json(name)}:${text}`)
      const twice = fc.tuple(member, member).map((both) => both.join())
      const absent = { arbitrary: fc.constant(''), weight: required.includes(name) ? 1 : 15 }
      return fc.oneof(often(member, 30), absent, seldom(twice))
    })
    const uninvited = fc
      .tuple(fc.constantFrom('"__proto__"', '"constructor"', '"isAdmin"', '"userId"', '"\\u0000"', '""'), hostileJson)
      .map((pair) => pair.join(':'))
    const extra = fc.oneof(often(fc.constant('')), seldom(uninvited))
    return fc.tuple(...members, extra).map((parts) => `{${parts.filter(Boolean).join()}}`)
  }
}

function fittingString(schema: Schema): fc.Arbitrary<string> {
  const { format, pattern, minLength = 0, maxLength = 40 } = schema
  if (format === 'uuid') return fc.uuid()
  if (format === 'email') return fc.stringMatching(/^[a-z]{1,12}@[a-z]{1,9}\.(com|example)$/)
  if (format === 'date') return fc.constantFrom('1990-05-17', '2000-02-29', '1900-01-01', '9999-12-31', '0001-01-01')
  if (format === 'date-time') return fc.constantFrom('2026-10-05T12:00:00Z', '9999-12-31T23:59:59.999+14:00')
  if (pattern !== undefined && !/\(\?[!=<]|\\p/.test(pattern)) return fc.stringMatching(new RegExp(pattern))
  return fc.string({ unit: 'grapheme', minLength, maxLength: Math.min(maxLength, 40) })
}

const plain = (text: string): string => String(JSON.parse(text))

/** As it may stand in a request target: most servers take no more than 4 KiB of it. */
const shortened = (text: string): string =>
  encodeURIComponent(
    text
      .slice(0, 80)
      .replace(/[\ud800-\udfff]/g, '')
      .replace(/^"|"$/g, ''),
  )

function csv(code: fc.Arbitrary<string | number> = fc.constant('')): fc.Arbitrary<string> {
  const cell = fc.oneof(often(code.map(String), 4), seldom(fc.constantFrom('"', '""', '"a\nb"', '\0', '=1+1', '\xff')))
  const head = fc.oneof(
    often(fc.constant('code')),
    seldom(fc.constantFrom('', 'Code', '\xef\xbb\xbfcode', 'a,code,code')),
  )
  const rows = fc.oneof(often(fc.array(cell, { maxLength: 8 })), seldom(fc.constant(Array(3_000).fill('x'.repeat(70)))))
  return fc
    .tuple(head, rows, fc.constantFrom('\n', '\r\n', '\r', ',\n'))
    .map(([first, rest, end]) => [first, ...rest].join(end))
}

function headersOf({ contentType, method }: Operation): fc.Arbitrary<FuzzRequest['headers']> {
  const type = contentType ?? 'application/json'
  const types = [
    type.toUpperCase(),
    `${type};charset=utf-7`,
    'text/plain',
    `${type}\x80`,
    ';',
    'application/jsonx',
    type.slice(1),
  ]
  const sent = fc.oneof(often(fc.constant(type), 20), seldom(fc.constantFrom(...types)))
  const maybe = (name: string, values: fc.Arbitrary<string>, weight = 20) =>
    fc.oneof(
      often(fc.constant<(readonly [string, string])[]>([]), weight),
      seldom(values.map((value) => [[name, value] as const])),
    )
  const keys = fc.constantFrom('one', 'one', 'x'.repeat(128), 'x'.repeat(129), 'two words', 'caf\xe9!', '"', '\xff\xfe')
  const forged = [
    'Bearer',
    'Bearer null',
    'Basic YTpi',
    'Bearer a.b.c',
    'bearer \t',
    `Bearer ${'a'.repeat(2_100)}`,
    '\xff',
  ]
  const hops = ['1.2.3.4', 'garbage', '::1', ','.repeat(200), '[::', '1.2.3.4:99999999', '\x80']
  return fc
    .tuple(
      contentType === undefined && method === 'GET' ? fc.constant('') : sent,
      maybe('idempotency-key', keys, 3),
      maybe('authorization', fc.constantFrom(...forged)),
      maybe('x-forwarded-for', fc.constantFrom(...hops)),
      maybe('origin', fc.constantFrom('null', 'https://evil.example', '\xff')),
      maybe('content-encoding', fc.constantFrom('gzip', 'br', 'identity')),
      maybe('if-none-match', fc.constantFrom('*', ','.repeat(200))),
      maybe('range', fc.constantFrom('bytes=0-', 'bytes=9-1', 'bytes=-1,-1')),
      maybe('expect', fc.constant('100-continue')),
      maybe('x-http-method-override', fc.constant('DELETE')),
    )
    .map(([sentType, ...rest]) => [...(sentType === '' ? [] : [['content-type', sentType] as const]), ...rest.flat()])
}

/** The request as it goes over the wire. */
export function bytesOf({ method, target, headers, body, framing }: FuzzRequest, token: string): Buffer {
  const own = headers.some(([name]) => name === 'authorization') || token === ''
  const all = [['host', 'x'] as const, ...headers, ...(own ? [] : [['authorization', `Bearer ${token}`] as const])]
  const content = body === undefined ? undefined : Buffer.from(body, 'latin1')
  const chunked = framing === 'chunked' && content !== undefined
  if (chunked) all.push(['transfer-encoding', 'chunked'])
  else if (content !== undefined) all.push(['content-length', String(content.length)])
  const head = `${method} ${target} HTTP/1.1\r\n${all.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
  const parts = content === undefined ? [] : chunked ? chunksOf(content) : [content]
  return Buffer.concat([Buffer.from(head, 'latin1'), ...parts])
}

function chunksOf(content: Buffer): Buffer[] {
  const cut = Math.ceil(content.length / 2)
  const pieces = [content.subarray(0, cut), content.subarray(cut)].filter(({ length }) => length > 0)
  return [
    ...pieces.flatMap((piece) => [Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
    Buffer.from('0\r\n\r\n'),
  ]
}
