/** Of the package that this is built into. */
export const VERSION = '0.1.0.dev0';
