/** Cold reads of members. */
import type { Administrator } from '../../actors/user/administrator-row.js'
import type { Sql } from '../postgres/connection.js'

interface AdministratorRow {
  readonly id: string
  readonly email: string
  readonly username: string
  readonly full_name: string
  readonly totp_enabled: boolean
  readonly is_active: boolean
}

/** Those who were members first come first. */
export async function administrators(sql: Sql): Promise<Administrator[]> {
  const rows = await sql<AdministratorRow[]>`
    select id, email, username, full_name, totp_enabled, is_active from users where is_admin order by member_since, id`
  return rows.map(({ id, email, username, full_name, totp_enabled, is_active }) => ({
    ...{ userId: id, email, username, fullName: full_name },
    ...{ twoFactorEnabled: totp_enabled, isSuspended: !is_active },
  }))
}
