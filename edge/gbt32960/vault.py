"""Encrypted data units and signatures, by the library `cryptography`: AES-128, SM4, RSA.

The text names algorithms, not modes: ECB with PKCS#7 padding is what terminals use where nothing
else was agreed, CBC (the first block is the initial vector) is the other choice. RSA is PKCS#1
v1.5, block by block; signatures are PKCS#1 v1.5 or ECDSA, both with SHA-256. The library has no
SM2: such units and signatures are refused and say so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from openvrc.contracts.errors import SettingsError, VrcError
from openvrc.contracts.gbt32960.nodes import Tree
from openvrc.contracts.gbt32960.units import Encryption

Mode = Literal["ecb", "cbc"]
KEY_BYTES = BLOCK_BYTES = 16
ANYBODY = "default"
_CIPHERS: Mapping[int, Any] = {Encryption.AES: algorithms.AES, Encryption.SM4: algorithms.SM4}
_SM2, _RSA, _ECC = 1, 2, 3


class SecretError(VrcError):
    """A unit that cannot be decrypted or a signature that does not hold: says why."""


@dataclass(frozen=True)
class Keys:
    """What is known of one vehicle, or of anybody."""

    symmetric: Mapping[int, bytes] = field(default_factory=dict)
    """Key by encryption rule (AES, SM4)."""
    private: rsa.RSAPrivateKey | None = None
    """Ours: units are encrypted with its public half."""
    signer: Any = None
    """The vehicle's public key, RSA or of an elliptic curve."""


class Vault:
    """Keys of vehicles by VIN, else those of everybody."""

    def __init__(self, keys: Mapping[str, Keys] | None = None, mode: Mode = "ecb") -> None:
        self._keys = dict(keys or {})
        self._mode = mode

    def keys(self, vin: str) -> Keys:
        """Those of a vehicle."""
        return self._keys.get(vin) or self._keys.get(ANYBODY) or Keys()

    def decrypt(self, unit: bytes, rule: int, vin: str, own: Mapping[int, bytes]) -> bytes:
        """The plain unit; `own` are keys that this connection exchanged. Raises SecretError."""
        if rule == Encryption.RSA:
            return _rsa_decrypt(unit, self.keys(vin).private)
        if rule not in _CIPHERS:
            word = Encryption(rule).name if rule in Encryption._value2member_map_ else f"{rule:02X}"
            raise SecretError(f"encryption rule {word} is not supported, expected AES, SM4 or RSA")
        key = own.get(rule) or self.keys(vin).symmetric.get(rule)
        if key is None:
            raise SecretError(f"no {Encryption(rule).name} key for {vin}")
        return decrypt_blocks(unit, rule, key, self._mode)

    def verify(self, signed: bytes, signature: Tree, vin: str) -> bool | None:
        """Whether a signature (algorithm, r, s) holds; None where the vehicle's key is not known.

        Raises SecretError for an algorithm that is not supported.
        """
        signer = self.keys(vin).signer
        algorithm = signature["algorithm"]
        if algorithm == _SM2:
            raise SecretError("signature by SM2 is not supported, expected RSA or ECC")
        if signer is None:
            return None
        r, s = signature["r"], signature["s"]
        try:
            if algorithm == _RSA and isinstance(signer, rsa.RSAPublicKey):
                signer.verify(r, signed, rsa_padding.PKCS1v15(), hashes.SHA256())
            elif algorithm == _ECC and isinstance(signer, ec.EllipticCurvePublicKey):
                numbers = int.from_bytes(r, "big"), int.from_bytes(s, "big")
                signer.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hashes.SHA256()))
            else:
                return False
        except (InvalidSignature, ValueError):
            return False
        return True


def _cipher(rule: int, key: bytes, mode: Mode, vector: bytes) -> Any:
    # ECB leaks equal blocks; what terminals do is not ours to choose.
    made = modes.CBC(vector) if mode == "cbc" else modes.ECB()  # noqa: S305
    return Cipher(_CIPHERS[rule](key), made)


def decrypt_blocks(unit: bytes, rule: int, key: bytes, mode: Mode) -> bytes:
    """The plain unit of a block cipher. Raises SecretError."""
    vector, text = (unit[:BLOCK_BYTES], unit[BLOCK_BYTES:]) if mode == "cbc" else (b"", unit)
    try:
        decryptor = _cipher(rule, key, mode, vector).decryptor()
        padded = decryptor.update(text) + decryptor.finalize()
        remover = padding.PKCS7(8 * BLOCK_BYTES).unpadder()
        plain: bytes = remover.update(padded) + remover.finalize()
    except ValueError as error:
        raise SecretError(f"{Encryption(rule).name} unit of {len(unit)} bytes: {error}") from error
    return plain


def encrypt_blocks(unit: bytes, rule: int, key: bytes, mode: Mode, vector: bytes = b"") -> bytes:
    """What `decrypt_blocks` reads; `vector` is 16 random bytes with CBC."""
    adder = padding.PKCS7(8 * BLOCK_BYTES).padder()
    padded = adder.update(unit) + adder.finalize()
    encryptor = _cipher(rule, key, mode, vector).encryptor()
    encrypted: bytes = encryptor.update(padded) + encryptor.finalize()
    return vector + encrypted


def _rsa_decrypt(unit: bytes, private: rsa.RSAPrivateKey | None) -> bytes:
    if private is None:
        raise SecretError("no RSA private key")
    n_bytes = private.key_size // 8
    if not unit or len(unit) % n_bytes:
        raise SecretError(f"RSA unit has {len(unit)} bytes, expected a multiple of {n_bytes}")
    try:
        return b"".join(
            private.decrypt(unit[at : at + n_bytes], rsa_padding.PKCS1v15())
            for at in range(0, len(unit), n_bytes)
        )
    except ValueError as error:
        raise SecretError(f"RSA unit: {error}") from error


def read_keys(path: Path) -> dict[str, Keys]:
    """Keys of a TOML file: one table a VIN, or `default`. Raises SettingsError.

    `aes_hex`, `sm4_hex`: 32 hex digits; `rsa_private_pem`, `sign_public_pem`: paths beside it.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {vin: _keys_of(table, path.parent) for vin, table in tables.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"gbt32960.keys_file {path}: {error}") from error


def _keys_of(table: Mapping[str, str], folder: Path) -> Keys:
    known = {"aes_hex", "sm4_hex", "rsa_private_pem", "sign_public_pem"}
    if unknown := set(table) - known:
        raise ValueError(f"unknown {sorted(unknown)}, expected {sorted(known)}")
    rules = (("aes_hex", Encryption.AES), ("sm4_hex", Encryption.SM4))
    symmetric = {rule.value: bytes.fromhex(table[n]) for n, rule in rules if n in table}
    if any(len(key) != KEY_BYTES for key in symmetric.values()):
        raise ValueError(f"a key has another length than {KEY_BYTES} bytes")
    private, signer = None, None
    if "rsa_private_pem" in table:
        loaded = load_pem_private_key((folder / table["rsa_private_pem"]).read_bytes(), None)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise ValueError("rsa_private_pem holds no RSA key")
        private = loaded
    if "sign_public_pem" in table:
        signer = load_pem_public_key((folder / table["sign_public_pem"]).read_bytes())
    return Keys(symmetric, private, signer)
