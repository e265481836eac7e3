import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createBlakjaks } from '../actors/programs/blakjaks/program.js'
import { parsePolicy } from '../chain/signer/policy.js'
import { chatRoutes } from '../gateway/http/chat-routes.js'
import type { Services } from '../gateway/services.js'
import { settingsSchema } from '../settings.js'

const root = join(import.meta.dirname, '..', '..')
const read = (file: string) => readFile(join(root, file), 'utf8')

t.test('every setting is documented, and nothing that is no setting', async (t) => {
  const operating = await read('docs/operating.md')
  const documented = [...operating.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, name]) => name)
  t.strictSame(documented.toSorted(), Object.keys(settingsSchema.shape).toSorted())
})

t.test('links between documents lead somewhere', async (t) => {
  for (const file of [
    'README.md',
    'docs/architecture.md',
    'docs/chat.md',
    'docs/operating.md',
    'docs/payouts.md',
    'docs/decisions/README.md',
  ]) {
    const text = await read(file)
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      await t.resolves(readFile(join(root, file, '..', target)), `${file} → ${target}`)
    }
  }
})

t.test('the refusals of the chat are documented as its routes declare them', async (t) => {
  const routes = chatRoutes({ program: createBlakjaks() } as Services)
  const declared = new Map(
    routes.flatMap(({ errors = [] }) =>
      errors.map(({ code, status, when }) => [code, `| \`${code}\` | ${status} | ${when} |`] as const),
    ),
  )
  const [, shown = ''] = /<!-- codes -->\n(.*?)\n<!-- \/codes -->/s.exec(await read('docs/chat.md')) ?? []
  t.strictSame(shown.split('\n').slice(2), [...declared.values()].toSorted())
})

t.test('the policy that is shown is one', async (t) => {
  const [, shown = ''] = /```json\n(.*?)```/s.exec(await read('docs/payouts.md')) ?? []
  t.match(parsePolicy(JSON.parse(shown), 'docs/payouts.md').get('member'), { kind: 'evm', chainId: 137 })
})

t.test('every npm script the README names exists', async (t) => {
  const { scripts } = JSON.parse(await read('package.json'))
  for (const [, name = ''] of (await read('README.md')).matchAll(/npm run ([\w:-]+)/g)) t.hasProp(scripts, name)
})
