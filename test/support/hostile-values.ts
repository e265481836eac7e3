// The corpus: JSON, text and bytes that have hurt servers before.
import fc from 'fast-check'

/** The bytes of a text, as Latin-1. */
export const utf8 = (text: string) => Buffer.from(text).toString('latin1')
export const json = (value: unknown) => JSON.stringify(value) ?? 'null'
export const often = <T>(arbitrary: fc.Arbitrary<T>, weight = 12) => ({ arbitrary, weight })
export const seldom = <T>(arbitrary: fc.Arbitrary<T>) => ({ arbitrary, weight: 1 })

const nested = fc
  .tuple(fc.constantFrom('[', '{"a":'), fc.constantFrom(2, 100, 5_000, 10_000))
  .map(([open, depth]) => `${open.repeat(depth)}1${(open === '[' ? ']' : '}').repeat(depth)}`)

/** JSON values as text that no schema asks for, or that only look harmless. */
export const hostileJson = fc.oneof(
  fc.constantFrom('null', 'true', 'false', '[]', '{}', '[[]]', '""', '" "', '"NaN"', '"null"'),
  fc.constantFrom('0', '-0', '-1', '0.5', '1e999', '-1e999', '1e-400', '4294967296', '9007199254740993'),
  fc.constantFrom('-9223372036854775809', `1${'0'.repeat(400)}`, `0.${'3'.repeat(400)}`, '1E+30', '253402300800000'),
  fc.constantFrom('"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u202e\\ufeff\\u200b"', '"\\u2028"'),
  fc.constantFrom(
    '"ﬀ①Å"',
    '"Å"',
    '"A\\u030a"',
    '"İI\\u0307ı"',
    '"ß"',
    '"👩‍👩‍👧‍👦"',
    '"﷽﷽﷽"',
    '"\\r\\nx-injected: yes"',
  ),
  fc.constantFrom('"__proto__"', '"constructor"', '"toString"', '"../../etc/passwd"', `"'; drop table users; --"`),
  fc.constantFrom('{"__proto__":{"isAdmin":true}}', '{"constructor":{"prototype":{"role":"admin"}}}', '{"then":1}'),
  fc.constantFrom(
    '{"toString":null,"valueOf":null}',
    '{"length":4294967295}',
    '{"toJSON":1}',
    '"=cmd|x"',
    '"%00%0d%0a"',
  ),
  fc.constantFrom(100, 256, 5_000, 60_000).map((length) => json('é'.repeat(length / 2))),
  fc.constantFrom(1_000, 20_000).map((length) => `[${'0,'.repeat(length)}0]`),
  nested,
  fc.json({ maxDepth: 3, noUnicodeString: false }),
)

export const otherMethods = [
  'GET',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'FOO',
  'get',
]
export const hostileSegments = [
  '..',
  '%2e%2e',
  '..%2f..%2fetc%2fpasswd',
  '%00',
  '%ff',
  '%',
  '%zz',
  '%0d%0ax-injected:%20yes',
]
hostileSegments.push(
  '*',
  ':id',
  '__proto__',
  '%F0%9F%98%80',
  '\xff\xfe',
  '%ED%A0%80',
  'a'.repeat(1_000),
  '',
  '%20',
  '%2F',
)
export const hostileQueries = [
  '__proto__=1',
  '__proto__[a]=1',
  'a'.repeat(1_000),
  '&&&===&',
  '%',
  '%ff=%ff',
  '\xff=\xfe',
  '?',
]
hostileQueries.push('limit[]=1', 'a=1&'.repeat(250), 'constructor=1&toString=2', '%0d%0ax-injected:%20yes', '#', '%00')

const malformed = [
  '',
  '{',
  '{"a"',
  '[1,]',
  'undefined',
  'NaN',
  "{'a':1}",
  '\xef\xbb\xbf{}',
  '\0',
  '{}{}',
  '{"a":1}garbage',
]
/** Bodies, as Latin-1, that are no JSON at all. */
export const notJson = fc.oneof(
  fc.constantFrom(...malformed, '"\xff\xfe"', '{"a":"\xed\xa0\x80"}', '\x1f\x8b\x08\0', '"\\x"', '"\t"', '01', '+1'),
  fc.constantFrom(
    '['.repeat(60_000),
    '{"a":'.repeat(12_000),
    ' '.repeat(65_536),
    '"'.repeat(70_000),
    'x'.repeat(200_000),
  ),
  fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
)

/** Bytes with a few of them changed, doubled, missing or added: nearly HTTP. */
export function spoiled(bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const bits = [
    '\r',
    '\n',
    '\r\n',
    '\0',
    ' ',
    ':',
    '\xff',
    '\r\nx-injected: yes',
    '\r\n\r\n',
    'Content-Length: 1\r\n',
    '%',
    '/',
  ]
  const spoiling = fc.tuple(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.constantFrom(...bits, ''),
    fc.constantFrom(0, 0, 1, 5),
  )
  return fc.tuple(bytes, fc.array(spoiling, { minLength: 1, maxLength: 4 })).map(([whole, spoilings]) =>
    spoilings.reduce((text, [where, bit, less]) => {
      const at = Math.floor(where * Math.min(text.length, 1_500))
      return Buffer.concat([text.subarray(0, at), Buffer.from(bit, 'latin1'), text.subarray(at + less)])
    }, whole),
  )
}
