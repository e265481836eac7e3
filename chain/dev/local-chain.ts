/** What the server needs of a chain that only this machine knows. */
export interface LocalChain {
  readonly url: string
  /** As in CAIP-2. */
  readonly chain: string
  readonly asset: { readonly symbol: string; readonly decimals: number; readonly address: string }
  /** Coins to pay fees with. */
  giveGas(address: string): Promise<void>
  /** New tokens, in minor units. */
  give(address: string, amount: bigint): Promise<void>
  /** A batch contract that pays out of a wallet; chains that have none leave it out. */
  deployBatch?(owner: string): Promise<string>
  stop(): Promise<void>
}
