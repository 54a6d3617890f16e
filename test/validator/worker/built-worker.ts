/** Compiles the sources as they are now: a worker thread reads no TypeScript on the oldest Node that we run on. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

export interface BuiltWorker {
  readonly entry: URL
  remove(): Promise<void>
}

export async function buildWorker(): Promise<BuiltWorker> {
  // Inside of node_modules, so that the build finds the packages that it imports.
  const cache = join(ROOT, 'node_modules', '.cache')
  await mkdir(cache, { recursive: true })
  const directory = await mkdtemp(join(cache, 'pgbearer-worker-'))
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }\n')
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const project = join(ROOT, 'tsconfig.build.json')
  await new Promise<void>((resolve) => {
    // Types are checked elsewhere; what could be compiled is used.
    execFile(process.execPath, [compiler, '-p', project, '--outDir', directory], () => resolve())
  })
  return {
    entry: pathToFileURL(join(directory, 'src', 'validator', 'worker', 'worker-main.js')),
    remove: () => rm(directory, { recursive: true, force: true }),
  }
}
