/**
 * A secret that a setting points to: it does not stand in the settings themselves.
 *
 * @module
 */
import path from 'node:path'
import { z } from 'zod'
import { readSecretFile } from './secret-file.ts'

const text = z.string().min(1)

/** `{ file = "…" }` or `{ env = "…" }`. */
export const secretPlaceSchema = z.union(
  [z.strictObject({ file: text }), z.strictObject({ env: text })],
  'must be { file = "…" } or { env = "…" }: a secret does not stand in the settings',
)

/** Where a secret is. */
export type SecretPlace = z.output<typeof secretPlaceSchema>

/**
 * The secret, without the newline that ends its file.
 *
 * @param directory - where a relative path starts.
 * @throws Error where it is missing, empty or open to others. Its message holds no part of the secret.
 */
export function readSecret(place: SecretPlace, directory: string): string {
  if ('env' in place) {
    const value = process.env[place.env]
    if (value === undefined || value === '') {
      throw new Error(`environment variable "${place.env}" is not set`)
    }
    return value
  }
  const file = path.resolve(directory, place.file)
  const value = readSecretFile(file).replace(/\r?\n$/, '')
  if (value === '') {
    throw new Error(`file "${file}" is empty`)
  }
  return value
}
