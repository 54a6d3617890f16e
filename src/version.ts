/**
 * pgbearer's version, the same as in package.json.
 *
 * @module
 */

/** What a validator module reads as `state.hostVersion`. */
export const VERSION = '0.1.0'
