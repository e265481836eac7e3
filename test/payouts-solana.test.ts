// Hunts, on the real Solana VM: a payout that is paid twice or never, a hold nobody releases, money nobody explains.
import t from 'tap'
import { solanaBench } from './support/payout-solana.js'
import { crashHazards, oversightHazards, signerHazards } from './support/payout-suite.js'

t.setTimeout(300_000)
const { bench, faults } = await solanaBench(t)

crashHazards(t, bench, Number(process.env.TIMES ?? 50))
signerHazards(t, bench, faults)
oversightHazards(t, bench, Number(process.env.TIMES ?? 50))
