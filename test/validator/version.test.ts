import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { VERSION } from '../../src/version.ts'

test('the version that modules are told is the version of the package', async () => {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  expect(VERSION).toBe((JSON.parse(text) as { version: string }).version)
})
