/** Files as editors, programs and Kubernetes change them. */
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { FileWatch } from '../../src/reload/file-watch.ts'
import { makeTemporaryDirectory } from '../support/temporary-directory.ts'

const INTERVAL_MS = 15

interface Watched {
  readonly path: (name: string) => string
  readonly write: (name: string, text: string) => void
  /** The changes so far, each a list of names. */
  readonly changes: readonly (readonly string[])[]
  /** Resolves with the change of this number, from 1. */
  readonly change: (number: number) => Promise<readonly string[]>
  readonly load: (work?: () => void) => Promise<void>
}

/** Watches `names`, which `make` makes a while before. Each change leads to a load. */
async function watching(
  names: readonly string[],
  make: (path: (name: string) => string) => void,
): Promise<Watched> {
  const directory = await makeTemporaryDirectory()
  onTestFinished(() => directory[Symbol.asyncDispose]())
  const path = (name: string): string => join(directory.path, name)
  make(path)
  // Longer than the system's clock ticks, so that what was made is older than the load.
  await sleep(50)
  const changes: (readonly string[])[] = []
  const watch = new FileWatch({
    intervalMs: INTERVAL_MS,
    onChange: async (files) => {
      changes.push(files.map((file) => file.slice(directory.path.length + 1)))
      await load()
    },
  })
  const load = async (work = () => {}): Promise<void> => {
    const before = await watch.beforeLoad()
    work()
    await watch.loaded(names.map(path), before)
  }
  await load()
  watch.start()
  onTestFinished(() => watch.stop())
  return {
    path,
    write: (name, text) => writeFileSync(path(name), text),
    changes,
    load,
    change: async (number) => {
      await expect.poll(() => changes.length, { interval: 5 }).toBeGreaterThanOrEqual(number)
      return changes[number - 1] ?? []
    },
  }
}

const rules = (path: (name: string) => string): void => writeFileSync(path('hba'), 'one')

test('a file that is written is a change, once', async () => {
  const { write, change, changes } = await watching(['hba'], rules)
  write('hba', 'two')
  expect(await change(1)).toEqual(['hba'])
  write('hba', 'three')
  await change(2)
  expect(changes).toEqual([['hba'], ['hba']])
})

test('files that change together are one change', async () => {
  const { write, change } = await watching(['hba', 'ident', 'key'], (path) => {
    rules(path)
    writeFileSync(path('ident'), '')
  })
  write('hba', 'two')
  write('ident', 'two')
  write('key', 'two')
  expect([...(await change(1))].sort()).toEqual(['hba', 'ident', 'key'])
})

test('another file put in its place is a change, even of the same size and time', async () => {
  const { path, write, change } = await watching(['hba'], rules)
  write('hba~', 'ONE')
  renameSync(path('hba~'), path('hba'))
  expect(await change(1)).toEqual(['hba'])
})

test('a link two directories above that is swapped, as for a Kubernetes ConfigMap, is a change', async () => {
  const { path, change } = await watching(['mount/hba'], (path) => {
    for (const version of ['v1', 'v2']) {
      mkdirSync(path(`mount/${version}`), { recursive: true })
      writeFileSync(path(`mount/${version}/hba`), 'rules')
    }
    symlinkSync('v1', path('mount/..data'))
    symlinkSync('..data/hba', path('mount/hba'))
  })
  symlinkSync('v2', path('mount/..data_tmp'))
  renameSync(path('mount/..data_tmp'), path('mount/..data'))
  expect(await change(1)).toEqual(['mount/hba'])
})

test('a file that goes and one that comes are changes', async () => {
  const { path, write, change } = await watching(['hba'], rules)
  rmSync(path('hba'))
  expect(await change(1)).toEqual(['hba'])
  write('hba', 'again')
  expect(await change(2)).toEqual(['hba'])
})

test('a new name in a directory is a change of the directory', async () => {
  const { write, change } = await watching(['rules.d'], (path) => mkdirSync(path('rules.d')))
  write('rules.d/10.conf', '')
  expect(await change(1)).toEqual(['rules.d'])
})

test('other rights are a change: a key that was open to others is one to be tried again', async () => {
  const { path, change } = await watching(['hba'], rules)
  chmodSync(path('hba'), 0o600)
  expect(await change(1)).toEqual(['hba'])
})

test('what is written while it is being read is a change afterwards', async () => {
  const { write, load, change, changes } = await watching(['hba'], rules)
  await load(() => write('hba', 'two'))
  expect(await change(1)).toEqual(['hba'])
  expect(changes).toHaveLength(1)
})

test('what is written while it is read for the first time is a change afterwards', async () => {
  const { write, change, load } = await watching(['hba', 'new'], rules)
  write('hba', 'two')
  await change(1)
  await load(() => write('new', 'first'))
  expect(await change(2)).toEqual(['new'])
})

test('a load that was asked for otherwise leaves nothing to tell', async () => {
  const { write, load, change, changes } = await watching(['hba', 'ident'], rules)
  write('hba', 'two')
  await load()
  write('ident', 'two')
  expect(await change(1)).toEqual(['ident'])
  expect(changes).toHaveLength(1)
})

test('a file that is being written is left alone until it stays as it is', async () => {
  const { path, change, changes } = await watching(['hba'], rules)
  const writing = setInterval(() => writeFileSync(path('hba'), 'more', { flag: 'a' }), 1)
  onTestFinished(() => clearInterval(writing))
  await sleep(10 * INTERVAL_MS)
  const meanwhile = changes.length
  clearInterval(writing)
  await change(1)
  expect(meanwhile).toBe(0)
})
