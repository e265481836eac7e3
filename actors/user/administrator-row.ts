/** An administrator as they are listed. */
export interface Administrator {
  readonly userId: string
  readonly email: string
  readonly username: string
  readonly fullName: string
  readonly twoFactorEnabled: boolean
  readonly isSuspended: boolean
}
