"""What weather does to drivers and to roadside sensors.

Drivers: on arterials wet pavement slows by 10 to 25 %, snow or slush by 30 to 40 % (FHWA, "How do
weather events impact roads"); capacity falls by 7 % in rain, 14 % in heavy rain, 22 % in heavy
snow (HCM 2010, exhibit 10-15), which is the headways' reciprocal. Friction against dry asphalt:
wet 0.7, standing water 0.5, packed snow 0.35 (0.8 / 0.55 / 0.4 / 0.3 of the adhesion coefficients
of vehicle dynamics textbooks). Sensors: cameras and lidars lose range with visibility; the ratios
here are assumptions of this model, in the order that published tests of fog and rain agree on.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.traffic import events


@dataclass(frozen=True)
class WeatherKind:
    """One kind of weather; ratios against a clear and dry day."""

    friction_ratio: float = 1.0
    speed_ratio: float = 1.0
    headway_ratio: float = 1.0
    range_ratio: float = 1.0  # of perception
    noise_ratio: float = 1.0  # of positions, speeds and headings
    missed_ratio: float = 1.0  # of the chance to miss somebody near by
    visibility_m: float = 10_000.0

    def event(self, from_s: float, for_s: float) -> events.Weather:
        """The same for the traffic engine."""
        return events.Weather(
            from_s, for_s, friction_ratio=self.friction_ratio, speed_ratio=self.speed_ratio,
            headway_ratio=self.headway_ratio, visibility_m=self.visibility_m,
            noise_ratio=self.noise_ratio,
        )  # fmt: skip


CLEAR = WeatherKind()
KINDS: dict[str, WeatherKind] = {
    "clear": CLEAR,
    "rain": WeatherKind(0.7, 0.9, 1.07, range_ratio=0.85, noise_ratio=1.2, missed_ratio=1.5,
                        visibility_m=2000.0),
    "heavy-rain": WeatherKind(0.5, 0.8, 1.14, range_ratio=0.65, noise_ratio=1.5, missed_ratio=3.0,
                              visibility_m=500.0),
    "fog": WeatherKind(0.8, 0.88, 1.1, range_ratio=0.4, noise_ratio=1.3, missed_ratio=3.0,
                       visibility_m=100.0),
    "snow": WeatherKind(0.35, 0.65, 1.22, range_ratio=0.55, noise_ratio=1.6, missed_ratio=4.0,
                        visibility_m=300.0),
}  # fmt: skip
