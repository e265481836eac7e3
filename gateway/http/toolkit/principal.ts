export type Role = 'member' | 'admin'

/** Who a request acts for, proven by its access token. */
export interface Principal {
  readonly userId: string
  readonly sessionId: string
  readonly role: Role
}
