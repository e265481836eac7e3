// Hunts, on the real Solana VM: a payout that is paid twice or never because the process died, at whatever moment.
import t from 'tap'
import { solanaBench } from './support/payout-solana.js'
import { crashHazards } from './support/payout-suite.js'

t.setTimeout(600_000)
/** More of them: `npm run chaos:payouts`. */
const DEATHS_AT_EACH_STEP = 10
const { bench } = await solanaBench(t, 0)
crashHazards(t, bench, DEATHS_AT_EACH_STEP)
