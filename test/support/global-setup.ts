/** What one run of the tests shares: a place for a data directory, and compiled programs. */
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestProject } from 'vitest/node'

import { createPostgresTemplate } from '../../src/demo/postgres-template.ts'

declare module 'vitest' {
  interface ProvidedContext {
    readonly postgresTemplate: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  buildWhereStale()
  const template = await createPostgresTemplate()
  project.provide('postgresTemplate', template.directory)
  return () => template.stop()
}

const root = fileURLToPath(new URL('../../', import.meta.url))

/**
 * `npm test` has built everything; somebody who runs vitest alone may not have. What runs in a
 * process of its own needs the compiled program, because Node 20 cannot run TypeScript.
 */
function buildWhereStale(): void {
  const sources = ['src/demo', 'src/validator', 'src/validator/worker'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
  )
  const fresh = sources.every((name) => {
    const built = statSync(join(root, 'dist', name.replace(/ts$/, 'js')), {
      throwIfNoEntry: false,
    })
    return built !== undefined && built.mtimeMs > statSync(join(root, name)).mtimeMs
  })
  if (!fresh) {
    const compiler = createRequire(import.meta.url).resolve('typescript/package.json')
    const tsc = join(dirname(compiler), 'bin/tsc')
    // Errors elsewhere in the sources do not keep it from writing what these tests need.
    spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'ignore' })
  }
}
