// Speeds at sea, without a page: that is what tests ask.
const KM_PER_NAUTICAL_MILE = 1.852;

/** Return knots as kilometres an hour. */
export const toKmh = (knots: number): number => knots * KM_PER_NAUTICAL_MILE;

/** Return what the page says to an input: the speed with one decimal, or what to type. */
export function describe(text: string): string {
  const knots = Number(text);
  if (text.trim() === "" || !Number.isFinite(knots) || knots < 0) return "Type a number from 0 up.";
  return `${toKmh(knots).toFixed(1)} km/h`;
}
