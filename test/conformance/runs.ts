/** How many files one property tries: a few hundred in `npm test`, 20,000 in `npm run conformance`. */
export const RUNS: number = Number(process.env['PGBEARER_CONFORMANCE_RUNS'] ?? 300)

/** The same files every time, unless somebody asks for others. */
export const SEED: number = Number(process.env['PGBEARER_CONFORMANCE_SEED'] ?? 20261121)

/** Time enough for that many files. */
export const TIMEOUT: number = 60_000 + RUNS * 20
