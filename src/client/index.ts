/**
 * `pgbearer/client`: the client side of an OAuth login.
 *
 * @packageDocumentation
 */
export {}
