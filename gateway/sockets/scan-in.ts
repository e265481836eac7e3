/** `scan:submit` as clients send it. */
import { z } from 'zod'
import { scanRequest } from '../../actors/user/scan.js'
import { submitScan } from '../http/scans.js'
import type { Principal } from '../http/toolkit/principal.js'
import type { Services } from '../services.js'

export const scanInput = scanRequest.extend({
  idempotency_key: z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/)
    .optional(),
})
export type ScanInput = z.output<typeof scanInput>

/** Scans of sockets, here or at a gateway. */
export function submitSocketScan(
  services: Services,
  principal: Principal,
  { idempotency_key: idempotencyKey, ...scan }: ScanInput,
  ip: string,
) {
  return submitScan(services, principal, scan, { ip, idempotencyKey })
}
