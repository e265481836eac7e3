import { ACCOUNT_SIZE, AccountLayout, TOKEN_PROGRAM_ID } from '@solana/spl-token'
import { type AccountInfo, type Connection, type PublicKey, SolanaJSONRPCError } from '@solana/web3.js'
import type { Block, Holdings } from '../chain.js'
import { accountOf, type SolanaAsset } from './asset.js'
import { blockHeader } from './blocks.js'
import { NodeUnfit } from './endpoint.js'
import { gainsBetween } from './movements.js'

/**
 * What the wallet held at the end of a slot, by default the last final one. Nodes show accounts only as they are now:
 * for a slot of the past, what came after it is taken off again.
 */
export async function holdingsAt(
  connection: Connection,
  asset: SolanaAsset,
  wallet: PublicKey,
  atSlot: number | undefined,
): Promise<Holdings> {
  const accounts = asset.mint === null ? [wallet] : [wallet, accountOf(asset, wallet)]
  const { context, value } = await connection.getMultipleAccountsInfoAndContext(accounts, { commitment: 'finalized' })
  const now = context.slot
  const slot = atSlot ?? now
  if (slot > now) throw new NodeUnfit(`slot ${slot} is not final at it: ${now} is`)
  const gas = BigInt(value[0]?.lamports ?? 0)
  const held = asset.mint === null ? gas : tokensIn(value[1] ?? null)
  const gained = slot === now ? { asset: 0n, gas: 0n } : await gainsBetween(connection, asset, wallet, slot, now)
  return { block: await blockAt(connection, slot), asset: held - gained.asset, gas: gas - gained.gas }
}

function tokensIn(account: AccountInfo<Buffer> | null): bigint {
  if (!account?.owner.equals(TOKEN_PROGRAM_ID) || account.data.length !== ACCOUNT_SIZE) return 0n
  return AccountLayout.decode(account.data).amount
}

/** A slot may have no block; its hash is empty then. */
async function blockAt(connection: Connection, slot: number): Promise<Block> {
  try {
    return { height: slot, hash: (await blockHeader(connection, slot)).blockhash }
  } catch (error) {
    if (error instanceof SolanaJSONRPCError) return { height: slot, hash: '' }
    throw error
  }
}
