"""Settings of every part: flag > environment (`VRC_...`) > `vrc.toml` > default.

Typed, unit-named, checked at start; one flat namespace, so that `VRC_DATABASE_URL` means the same
to every process. `vrc config show` prints each value and where it came from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from openvrc.contracts.errors import SettingsError
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN

CONFIG_FILE = Path("vrc.toml")
ENV_PREFIX = "VRC_"


class Gbt32960Settings(BaseModel):
    """The section `[gbt32960]`: an edge that has it serves GB/T 32960.3 terminals over TCP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone: str = Field(pattern=TOPIC_ID_PATTERN, description="Zone its vehicles belong to")
    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(32_960, ge=0, le=65535, description="Port to listen on, 0 for any")
    max_connections: int = Field(20_000, gt=0, description="More are closed at once")
    max_unit_bytes: int = Field(
        65_531, ge=64, le=65_531, description="Frames with longer data units are no frames"
    )
    max_vehicles_per_connection: int = Field(
        1, gt=0, description="Vehicles on one connection that is no platform's"
    )
    login_timeout_s: float = Field(60.0, gt=0, description="A connection logs in within this")
    idle_timeout_s: float = Field(
        240.0, gt=0, description="A connection without a frame is closed: the longest heartbeat"
    )
    frame_timeout_s: float = Field(30.0, gt=0, description="A frame comes whole within this")
    needs_login: bool = Field(True, description="Reports before a login are refused")
    needs_signature: bool = Field(
        False, description="Reports of 2025 need a signature that can be checked and holds"
    )
    asks_period: bool = Field(
        False, description="A terminal is asked for its reporting period after its login"
    )
    platform_users: SecretStr = Field(
        SecretStr(""), description="user:password of platforms, comma separated"
    )
    keys_file: Path | None = Field(None, description="TOML of keys by VIN, see docs/gbt32960.md")
    cipher_mode: Literal["ecb", "cbc"] = Field("ecb", description="Mode of AES and SM4")
    tls_certificate: Path | None = Field(None, description="PEM chain; with it, TLS is spoken")
    tls_key: Path | None = Field(None, description="PEM key of the certificate")

    def users(self) -> dict[str, str]:
        """Passwords of platforms by user."""
        pairs = [pair for pair in self.platform_users.get_secret_value().split(",") if pair]
        return dict(pair.strip().split(":", 1) for pair in pairs)

    @field_validator("platform_users")
    @classmethod
    def _are_pairs(cls, value: SecretStr) -> SecretStr:
        pairs = [pair for pair in value.get_secret_value().split(",") if pair]
        if not all(":" in pair for pair in pairs):
            raise ValueError("expected user:password, comma separated")
        return value


class Settings(BaseSettings):
    """All settings; a part uses those it needs."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        toml_file=CONFIG_FILE,
        extra="forbid",
        frozen=True,
    )

    data_dir: Path = Field(Path("var"), description="Where the embedded servers and spools live")
    zones_dir: Path = Field(Path("zones"), description="Folder of zone folders")

    broker_url: str = Field(
        "mqtt://127.0.0.1:1883",
        pattern=r"^mqtts?://",
        description="mqtt[s]://[user:password@]host[:port] of the broker",
    )

    cloud_url: str = Field("http://127.0.0.1:8080", description="Base URL of the cloud, for edges")
    api_key: str = Field("", description="API key this process uses towards the cloud")

    edge_id: str = Field("edge-1", pattern=TOPIC_ID_PATTERN, description="Name of this edge")
    edge_zone: str = Field("+", description="Zone this edge serves, + for every zone")
    edge_mqtt_client: Literal["gmqtt", "paho"] = Field(
        "gmqtt", description="Library of the intake: gmqtt costs a quarter, paho is the older one"
    )
    edge_workers: int = Field(
        0, ge=0, le=64, description="Processes that decode, by shared subscriptions; 0: the edge"
    )
    edge_forget_sessions: bool = Field(
        False, description="With other workers than before: give up what the broker holds for those"
    )
    edge_max_payload_bytes: int = Field(4_000_000, gt=0, description="Larger payloads are rejected")
    edge_queue_messages: int = Field(5_000, gt=0, description="Bound of the intake queue")
    edge_commit_every_ms: int = Field(
        50, gt=0, description="Longest gathering of a group for the spool; idle edges take 20"
    )
    edge_spool_max_bytes: int = Field(
        2_000_000_000, gt=0, description="Bytes at which the spool is full"
    )
    edge_spool_when_full: Literal["stop", "drop_oldest"] = Field(
        "stop", description="A full spool acknowledges no more, or drops (and counts) its oldest"
    )
    edge_spool_max_age_s: float = Field(
        0.0, ge=0, description="Records unsent for so long are given up and counted, 0 never"
    )
    edge_rules: str = Field(
        "",
        description="Rules that run at the edge, comma-separated names or globs "
        '("traffic.conflict"); "" none',
    )
    edge_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of the edge's /metrics, 0 off"
    )
    edge_metrics_host: str = Field(
        "127.0.0.1", description="Address it listens on; it asks for no key"
    )

    gbt32960: Gbt32960Settings | None = Field(
        None, description="Section: serve GB/T 32960.3 terminals over TCP"
    )

    database_url: str = Field("", description="postgresql://... of the cloud's database")
    cloud_host: str = Field("127.0.0.1", description="Address the cloud listens on")
    cloud_port: int = Field(8080, ge=0, le=65535, description="Port the cloud listens on, 0 any")
    cloud_api_keys: str = Field(
        "", description="name:role:key, comma separated; roles viewer, operator, admin"
    )
    cloud_max_body_bytes: int = Field(32_000_000, gt=0, description="Larger requests are refused")
    cloud_detectors: str = Field(
        "*", description="Rules that run: names or globs, comma separated; empty for none"
    )
    cloud_checkpoint_every_s: float = Field(5.0, gt=0, description="Detector state checkpoint")
    cloud_chunk_days: float = Field(1.0, gt=0, description="Length of a time partition or chunk")
    cloud_columnstore_after_days: float = Field(
        0.0, ge=0, description="With TimescaleDB: chunks of this age become columns, 0 never"
    )
    cloud_retention_motion_days: float = Field(
        0.0, ge=0, description="Age at which vehicle states and seen objects go, 0 never"
    )
    cloud_retention_battery_days: float = Field(
        0.0, ge=0, description="Age at which battery states, profiles and chargers go, 0 never"
    )
    cloud_retention_traffic_days: float = Field(
        0.0, ge=0, description="Age at which segment states and loop counts go, 0 never"
    )
    cloud_retention_roadside_days: float = Field(
        0.0, ge=0, description="Age at which signals, RSU states and road events go, 0 never"
    )
    cloud_retention_dead_letters_days: float = Field(
        0.0, ge=0, description="Age at which dead letters go, 0 never"
    )

    cloud_retention_minutes_days: float = Field(
        0.0, ge=0, description="Age at which minutes of vehicles and segments go, 0 never"
    )
    cloud_minutes_every_s: float = Field(
        60.0, ge=0, description="How often new rows are summed up into minutes, 0 never"
    )
    notify_file: Path | None = Field(
        None, description="TOML of channels and routes that tell people of alerts, docs/notify.md"
    )
    cloud_columnstore_keys: str = Field(
        "",
        description="Other keys of columns than the measured ones: 'message = segment columns / "
        "order columns; ...'",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic's signature)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then `vrc.toml`; no .env and no secret files."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**flags: Any) -> Settings:
    """Settings with the given flags on top (None means: not given). Raises SettingsError."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [
            f"{ENV_PREFIX}{'.'.join(map(str, e['loc'])).upper()} is {e['input']!r}: {e['msg']}"
            for e in error.errors(include_url=False)
        ]
        raise SettingsError("; ".join(lines)) from error
