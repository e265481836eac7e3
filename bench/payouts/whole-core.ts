/**
 * Everything that pays, as the server has it, without HTTP and Postgres: the shard on a journal that is synced, the signer
 * with its log, the pipeline. Its limits a minute and in flight are lifted.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { parseEther } from 'viem'
import { generatePrivateKey, privateKeyToAccount, sign } from 'viem/accounts'
import { blakjaksRules } from '../../actors/programs/blakjaks/rules.js'
import { mintTestToken } from '../../chain/dev/evm-token.js'
import { openEvmWallet } from '../../chain/evm/wallet.js'
import type { SigningKey } from '../../chain/keys/key-provider.js'
import { payoutCoreOf } from '../../chain/payouts/core-port.js'
import { Pipeline } from '../../chain/payouts/pipeline.js'
import { localPolicy } from '../../chain/signer/local-policy.js'
import { SignerService } from '../../chain/signer/service.js'
import { environment } from '../../core.js'
import { system } from '../../engine/command.js'
import { Shard } from '../../engine/shard.js'
import { openFileJournal } from '../../persistence/journal/file-journal.js'
import { lockSigner } from '../../signer-lock.js'
import { DOLLAR, USDT } from '../../test/support/evm.js'
import { programOf, WALLET } from '../../test/support/payout-program.js'
import { emptyStore, nothingApplied } from '../recovery/scan-journal.js'
import { type EvmGround, newcomers, POLL_MS, timed, type Way } from './evm-ways.js'

const FUNDS = 1_000_000n * DOLLAR
const LIFTED = 1_000_000

export interface WholeCore {
  /** Payouts are requested beforehand; what is measured is from the first look at them until all are mined. */
  readonly pay: Way
  close(): Promise<void>
}

export async function openWholeCore(ground: EvmGround): Promise<WholeCore> {
  const { endpoints, anvil } = ground
  const folder = await mkdtemp(join(tmpdir(), 'comptroller-bench-'))
  const key = newKey()
  await anvil.client.setBalance({ address: key.address as `0x${string}`, value: parseEther('1000') })
  await mintTestToken(anvil.client, key.address as `0x${string}`, FUNDS)
  const funded = await anvil.client.getBlockNumber()
  while ((await endpoints.round()).final < funded) await anvil.client.mine({ blocks: 1 })
  const { shard, loyalty, award, close } = await openCore(join(folder, 'journal'))
  const log = pino({ level: 'silent' })
  const signer = await openSigner(join(folder, 'signer'), key, anvil.chainId)
  const chain = await openEvmWallet({ endpoints, signer, name: WALLET, token: USDT })
  const core = payoutCoreOf(shard, loyalty)
  const limits = { stuckAfterMs: 60_000, signaturesMax: 12, inFlightMax: LIFTED }
  const pipeline = new Pipeline({ core, chain, wallet: WALLET, limits, nowMs: () => Date.now(), log })
  await pipeline.bind()
  let paid = 0
  let mined = new Set<string>()
  shard.subscribe(({ facts }) => {
    for (const fact of facts) {
      if (fact.type !== 'payout.moved') continue
      const { payoutId, state } = fact as unknown as { payoutId: string; state: string }
      if (state === 'mined' || state === 'settled') mined.add(payoutId)
    }
  })
  return {
    pay: async (payouts) => {
      mined = new Set()
      for (const address of newcomers(payouts)) {
        const userId = `winner-${paid++}`
        await shard.execute(loyalty.commands.setPayeeAddress, {
          args: { userId, address, provider: 'external' },
          who: system,
        })
        await shard.execute(award, { args: { payoutId: `payout-${paid}`, userId, amount: DOLLAR }, who: system })
      }
      await shard.settled()
      const seconds = await timed(async () => {
        while (mined.size < payouts) {
          await pipeline.round()
          await sleep(POLL_MS)
        }
      })
      while ((await pipeline.round()) > 0) await anvil.client.mine({ blocks: 1 })
      return seconds
    },
    async close() {
      await signer.close()
      await close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function openCore(directory: string) {
  const { payouts } = blakjaksRules
  const unlimited = 10n ** 18n
  const { loyalty, award } = programOf({
    ...blakjaksRules,
    payouts: {
      ...payouts,
      ...{ perMinuteMax: LIFTED, inFlightMax: LIFTED },
      ...{ dayReviewAbove: unlimited, hourPauseAbove: unlimited },
    },
  })
  let onDurable = (_: number) => {}
  const fail = (error: Error) => {
    throw error
  }
  const { journal } = await openFileJournal({
    directory,
    listener: { onDurable: (seq) => onDurable(seq), onFailure: fail },
  })
  const shard = new Shard(loyalty.program, journal, emptyStore, environment)
  onDurable = (seq) => shard.durable(seq)
  await shard.recover(nothingApplied)
  const close = async () => {
    await shard.drain()
    await journal.close()
  }
  return { shard, loyalty, award, close }
}

function openSigner(directory: string, key: SigningKey, chainId: number): Promise<SignerService> {
  return SignerService.open({
    directory,
    policy: localPolicy([WALLET], { chain: `eip155:${chainId}`, asset: USDT }),
    keys: { key: async () => key },
    log: pino({ level: 'silent' }),
    lock: lockSigner,
  })
}

function newKey(): SigningKey {
  const privateKey = generatePrivateKey()
  const { address } = privateKeyToAccount(privateKey)
  return {
    kind: 'evm',
    address,
    async signDigest(digest) {
      const { r, s, yParity } = await sign({ hash: `0x${Buffer.from(digest).toString('hex')}`, privateKey })
      return { r: BigInt(r), s: BigInt(s), yParity: yParity === 1 ? 1 : 0 }
    },
  }
}
