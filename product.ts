/** What this is called, to people and in tokens. */
export const VERSION = '0.1.0'
export const PRODUCT = 'Comptroller'
export const TOKEN_AUDIENCE = 'comptroller'
