"""Barker: a small Twitter built from microservices, to be read.

Imports point down only: clients and services, then shells (``service``, ``delivery``, ``link``,
``state``), then pure logic (``wire``, ``frames``, ``ring``, ``routing``, ``streams``, ``window``,
``users``), then the standard library.
"""
