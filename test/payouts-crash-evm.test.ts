// Hunts, on the real anvil: a payout that is paid twice or never because the process died, at whatever moment.
import t from 'tap'
import { Endpoints } from '../chain/evm/endpoints.js'
import { evmWorld } from './support/evm.js'
import { evmBench } from './support/payout-evm.js'
import { crashHazards } from './support/payout-suite.js'

t.setTimeout(600_000)
/** More of them: `npm run chaos:payouts`. */
const DEATHS_AT_EACH_STEP = 10
const evm = await evmWorld(t)
// Without a proxy between: it would only be slower.
const { url, chainId } = evm.anvil
crashHazards(t, evmBench(evm, new Endpoints({ urls: [url], chainId, confirmations: 7 })).bench, DEATHS_AT_EACH_STEP)
