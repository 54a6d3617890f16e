/**
 * One key set as an issuer published it, and what an operator should know about it.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import type { ValidatorLog } from 'pgbearer/validator'
import type { JsonObject } from '../json.ts'
import { type AdmittedKeys, admitKeys, type KeyPolicy } from './admit-keys.ts'

export interface KeySet {
  readonly keys: AdmittedKeys
  /** The same for the same document. */
  readonly fingerprint: string
}

/** @throws {NotAKeySetError} see {@link admitKeys} */
export async function readKeySet(document: JsonObject, policy: KeyPolicy): Promise<KeySet> {
  const keys = await admitKeys(document, policy)
  const fingerprint = createHash('sha256').update(JSON.stringify(document.keys)).digest('base64')
  return { keys, fingerprint }
}

/** @param description - where the keys come from */
export function announceKeys(keys: AdmittedKeys, description: string, log: ValidatorLog): void {
  log.log(`keys loaded from ${description}`, { keys: keys.keys.length })
  for (const alarm of keys.alarms) {
    log.warning(`in the key set from ${description}: ${alarm}`)
  }
  if (keys.keys.length === 0) {
    log.warning(`the key set from ${description} has no key that can verify a token`, {
      hint: 'A provider that signs with a shared secret (HS256) publishes no keys.',
    })
  }
}
