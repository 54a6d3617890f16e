/**
 * Kinds of values that settings are made of.
 *
 * @module
 */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { z } from 'zod'
import { parsePointer } from '../claims/claim-path.ts'
import { SettingsError } from './parse-settings.ts'

const UNITS_MS = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `"60s"`, `"5min"`, or a number of seconds; in milliseconds. */
export const duration: z.ZodType<number, string | number> = z
  .union([
    z.number().nonnegative().finite(),
    z.string().regex(/^\d{1,9} *(ms|s|min|h|d)$/, 'must be a time such as "60s", "5min" or "24h"'),
  ])
  .transform((value) => {
    if (typeof value === 'number') {
      return value * 1_000
    }
    const unit = value.replace(/^\d+ */, '') as keyof typeof UNITS_MS
    return Number.parseInt(value, 10) * UNITS_MS[unit]
  })

/** Text that is not empty. */
export const text: z.ZodString = z.string().min(1, 'must not be empty')

/** A JSON Pointer such as `/realm_access/roles`, or a list of names; as a list of names. */
export const claimPath: z.ZodType<readonly string[], string | string[]> = z
  .union([z.string(), z.array(text).min(1)])
  .transform((value, context) => {
    const path = typeof value === 'string' ? parsePointer(value) : value
    if (path === undefined || path.includes('__proto__')) {
      context.addIssue('must be a JSON Pointer such as "/sub", or a list of names')
      return z.NEVER
    }
    return path
  })

/** Where a secret is: never in the settings themselves. */
export const secret: z.ZodType<SecretPlace> = z.union(
  [z.strictObject({ file: text }), z.strictObject({ env: text })],
  { error: 'must be { file = "…" } or { env = "…" }: secrets are not written into settings' },
)

export type SecretPlace = { readonly file: string } | { readonly env: string }

/** Reads a secret; a line end at the end of a file is not part of it. */
export async function readSecret(
  place: SecretPlace,
  path: string,
  baseDirectory: string,
): Promise<string> {
  if ('file' in place) {
    return (await readText(place.file, path, baseDirectory)).replace(/\r?\n$/, '')
  }
  const value = process.env[place.env]
  if (value === undefined || value === '') {
    throw new SettingsError(`${path}: the environment variable "${place.env}" is not set`)
  }
  return value
}

/** The text of a file that the setting at `path` names. */
export async function readText(file: string, path: string, baseDirectory: string): Promise<string> {
  try {
    return await readFile(resolve(baseDirectory, file), 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new SettingsError(`${path}: could not read "${file}": ${code}`)
  }
}
