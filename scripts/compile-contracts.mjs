// Compiles chain/evm/contracts/*.sol into contracts.json beside them: abi and bytecode of each, and the digest of what
// they were compiled from, so that a test notices when the file was not made anew.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import solc from 'solc'
import { root } from './setup.mjs'

const folder = join(root, 'chain', 'evm', 'contracts')
const settings = {
  evmVersion: 'cancun',
  optimizer: { enabled: true, runs: 10_000 },
  metadata: { bytecodeHash: 'none' },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
}

const names = readdirSync(folder)
  .filter((name) => name.endsWith('.sol'))
  .sort()
const sources = Object.fromEntries(names.map((name) => [name, { content: readFileSync(join(folder, name), 'utf8') }]))
const output = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings })))

for (const { formattedMessage } of output.errors ?? []) console.error(formattedMessage)
if ((output.errors ?? []).length > 0) process.exit(1)

const contracts = Object.fromEntries(
  Object.values(output.contracts)
    .flatMap((byName) => Object.entries(byName))
    .map(([name, { abi, evm }]) => [name, { abi, bytecode: `0x${evm.bytecode.object}` }]),
)
const digest = createHash('sha256')
for (const name of names) digest.update(`${name}\n${sources[name].content}\n`)
const file = { compiler: solc.version(), sources: digest.digest('hex'), contracts }
writeFileSync(join(folder, 'contracts.json'), `${JSON.stringify(file, null, 2)}\n`)
console.log(`compiled ${Object.keys(contracts).join(', ')}`)
