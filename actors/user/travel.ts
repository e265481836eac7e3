const EARTH_RADIUS_KM = 6_371
const MS_PER_HOUR = 3_600_000
/** Positions closer than this are one place: phones are off by more than a walk takes. */
const SAME_PLACE_KM = 50

interface Fix {
  readonly lat: number
  readonly lng: number
  readonly at: number
}

/** The speed in km/h needed to get from one fix to the next; zero for about the same place. */
export function speedBetween(from: Fix, to: Fix): number {
  const distanceKm = greatCircleKm(from, to)
  if (distanceKm < SAME_PLACE_KM) return 0
  return distanceKm / (Math.max(1, to.at - from.at) / MS_PER_HOUR)
}

function greatCircleKm(from: Fix, to: Fix): number {
  const radians = Math.PI / 180
  const latitudes = Math.sin(((to.lat - from.lat) * radians) / 2) ** 2
  const longitudes = Math.sin(((to.lng - from.lng) * radians) / 2) ** 2
  const haversine = latitudes + Math.cos(from.lat * radians) * Math.cos(to.lat * radians) * longitudes
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.sqrt(haversine))
}
