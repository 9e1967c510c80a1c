"""Models of electric cars: pack layout, road load, charging, and what their BMS and terminal say.

Invented cars of ordinary size; what is said of instruments (resolution, tops of range, wake-ups) is
what real logs show, each model its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.energy.chemistry import CHEMISTRIES, Chemistry, chemistry_code


@dataclass(frozen=True)
class VehicleModel:
    """One model; cells of `chemistry` in `series` groups of `parallel`."""

    name: str
    chemistry: str
    series: int
    parallel: int
    module_cells: int
    probes: int
    mass_kg: float
    drag_area_m2: float  # cd A
    rolling_ratio: float = 0.010
    efficiency_ratio: float = 0.90  # battery to wheel, and back
    auxiliary_w: float = 350.0
    regeneration_w: float = 50_000.0  # more braking power goes into the discs
    home_charge_w: float = 7_000.0
    fast_charge_w: float = 90_000.0
    wake_every_s: float = 4 * 3600.0
    """How often the parked and sleeping BMS looks at its cells."""
    wake_frames: int = 2
    soc_step_ratio: float = 0.01
    """Resolution of the displayed charge; GB/T 32960 has one percent."""
    soc_bias_ratio: float = 0.025
    """Amplitude of this BMS's error over charge, the same in all cars of the model."""
    insulation_top_ohm: float = 5.0e6
    """Where the instrument saturates."""
    says_soh: bool = True
    idle_alarm_level: int = 0
    """Alarm level this BMS sets while nothing is wrong but the charge is below 30 %."""

    @property
    def cell(self) -> Chemistry:
        """Its cells' parameters."""
        return CHEMISTRIES[chemistry_code(self.chemistry)]

    @property
    def rated_capacity_ah(self) -> float:
        """Of the new pack."""
        return self.cell.capacity_ah * self.parallel

    @property
    def cells(self) -> int:
        """Cells in the pack."""
        return self.series * self.parallel


MODELS = (
    VehicleModel(
        name="VRC Compact",
        chemistry="nmc",
        series=96,
        parallel=30,
        module_cells=12,
        probes=24,
        mass_kg=1650.0,
        drag_area_m2=0.64,
    ),
    VehicleModel(
        name="VRC Family",
        chemistry="lfp",
        series=112,
        parallel=27,
        module_cells=14,
        probes=28,
        mass_kg=1800.0,
        drag_area_m2=0.68,
        wake_every_s=6 * 3600.0,
        wake_frames=1,
        soc_step_ratio=0.001,
        soc_bias_ratio=0.03,
        insulation_top_ohm=11.52e6,
        says_soh=False,
    ),
    VehicleModel(
        name="VRC Cab",
        chemistry="nmc",
        series=88,
        parallel=34,
        module_cells=11,
        probes=16,
        mass_kg=1700.0,
        drag_area_m2=0.66,
        wake_every_s=2 * 3600.0,
        wake_frames=1,
        soc_step_ratio=0.004,
        soc_bias_ratio=0.02,
        insulation_top_ohm=1.0e6,
        idle_alarm_level=1,
    ),
)
