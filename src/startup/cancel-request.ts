/**
 * CancelRequest (`processCancelRequest()` in `backend_startup.c`).
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { SilentProtocolViolationError } from '../errors.ts'
import type { CancelKey } from '../protocol/frontend-messages.ts'
import { MAX_CANCEL_KEY_LENGTH } from '../protocol/limits.ts'

/**
 * Reads a CancelRequest behind its length word.
 *
 * @throws SilentProtocolViolationError: a cancel request is never answered.
 */
export function parseCancelRequest(payload: Buffer): CancelKey {
  if (payload.length < 8) {
    throw new SilentProtocolViolationError('invalid length of cancel request packet')
  }
  const key = payload.subarray(8)
  if (key.length === 0 || key.length > MAX_CANCEL_KEY_LENGTH) {
    throw new SilentProtocolViolationError('invalid length of cancel key in cancel request packet')
  }
  return { processId: payload.readInt32BE(4), key: Buffer.from(key) }
}
