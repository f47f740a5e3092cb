"""The paper's networks."""

from tinytl_keras.backbones.proxyless_nas import PROXYLESS_MOBILE as PROXYLESS_MOBILE
from tinytl_keras.backbones.proxyless_nas import ProxylessNASMobile as ProxylessNASMobile
