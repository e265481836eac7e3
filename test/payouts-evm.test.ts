// Hunts, on the real anvil: a payout that is paid twice or never, a hold nobody releases, a nonce that is missing.
import t from 'tap'
import { Endpoints } from '../chain/evm/endpoints.js'
import { evmWorld } from './support/evm.js'
import { evmBench } from './support/payout-evm.js'
import { crashHazards, oversightHazards, signerHazards } from './support/payout-suite.js'

t.setTimeout(300_000)
const evm = await evmWorld(t, { timeoutMs: 400 })
const { bench, faults } = evmBench(evm)

// Where the process dies, the chain is asked without a proxy between: it is the same, and faster.
const direct = new Endpoints({ urls: [evm.anvil.url], chainId: evm.anvil.chainId, confirmations: 10 })
crashHazards(t, evmBench(evm, direct).bench, Number(process.env.TIMES ?? 50))
signerHazards(t, bench, faults)
oversightHazards(t, bench, Number(process.env.TIMES ?? 50))
