import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parsePolicy } from '../chain/signer/policy.js'
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

t.test('the policy that is shown is one', async (t) => {
  const [, shown = ''] = /```json\n(.*?)```/s.exec(await read('docs/payouts.md')) ?? []
  t.match(parsePolicy(JSON.parse(shown), 'docs/payouts.md').get('member'), { kind: 'evm', chainId: 137 })
})

t.test('every npm script the README names exists', async (t) => {
  const { scripts } = JSON.parse(await read('package.json'))
  for (const [, name = ''] of (await read('README.md')).matchAll(/npm run ([\w:-]+)/g)) t.hasProp(scripts, name)
})
