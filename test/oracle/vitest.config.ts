import { defineConfig, type ViteUserConfig } from 'vitest/config'

/** `npm run oracle`: needs a PostgreSQL that npm does not bring, so `npm test` does not have it. */
const config: ViteUserConfig = defineConfig({
  resolve: { conditions: ['pgbearer-source'] },
  ssr: { resolve: { conditions: ['pgbearer-source'] } },
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    include: ['test/oracle/*.oracle.ts'],
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
export default config
