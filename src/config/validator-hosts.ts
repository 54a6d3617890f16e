/**
 * `[validator_hosts.<name>]`: how the host runs one validator module. What the module itself is to know stands in
 * `[validators.<name>]`.
 *
 * @module
 */
import { z } from 'zod'
import { duration } from './units.ts'

const megabytes = z.int().min(4).max(1_048_576)

const resourceLimits = z
  .strictObject({
    max_old_generation_size_mb: megabytes,
    max_young_generation_size_mb: megabytes,
    code_range_size_mb: megabytes,
    stack_size_mb: z.int().min(1).max(64),
  })
  .partial()

/** One table, as written. What is left out has the host's default. */
export const validatorHostSchema = z
  .strictObject({
    /** In worker threads of its own, or in the thread that serves all connections. */
    isolation: z.enum(['worker', 'none']),
    /** The longest that `startup` and `validate` may take, each. */
    validator_timeout: duration({ unit: 'ms', min: 1, max: 600_000 }),
    max_concurrent_validations: z.int().min(1).max(1_000_000),
    validation_queue_size: z.int().min(0).max(1_000_000),
    workers: z.int().min(1).max(64),
    /** Of each worker. */
    resource_limits: resourceLimits,
  })
  .partial()

/** One table, as written. */
export type ValidatorHost = z.output<typeof validatorHostSchema>
