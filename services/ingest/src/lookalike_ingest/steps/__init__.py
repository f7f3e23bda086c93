"""The steps of the pipeline, one file each: fetch, unpack, decode, split, encode, write."""
