/** PostgreSQL's own limits and numbers, each with the name it has there. @module */

/** PG_PROTOCOL(3, 0) in `pqcomm.h`. */
export const PROTOCOL_3_0 = 0x0003_0000
/** PG_PROTOCOL(3, 2): longer cancel keys; PostgreSQL 18. */
export const PROTOCOL_3_2 = 0x0003_0002
/** CANCEL_REQUEST_CODE, 1234.5678. */
export const CANCEL_REQUEST_CODE = 80877102
/** NEGOTIATE_SSL_CODE, 1234.5679. */
export const SSL_REQUEST_CODE = 80877103
/** NEGOTIATE_GSS_CODE, 1234.5680. */
export const GSSENC_REQUEST_CODE = 80877104
/** MAX_STARTUP_PACKET_LENGTH: payload bytes behind the length word. */
export const MAX_STARTUP_PACKET_LENGTH = 10000
/** PG_MAX_AUTH_TOKEN_LENGTH: the length word of an authentication message. */
export const MAX_AUTH_TOKEN_LENGTH = 65535
/** NAMEDATALEN - 1: names are cut to so many bytes. */
export const MAX_NAME_LENGTH = 63
/** The longest cancel key of protocol 3.2. */
export const MAX_CANCEL_KEY_LENGTH = 256
/** libpq refuses an Authentication message whose length word is greater than this. */
export const MAX_LIBPQ_AUTH_MESSAGE_LENGTH = 2000
