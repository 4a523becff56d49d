"""Adds the fields by which lists are sorted and filtered to executions that an older version has written."""

from __future__ import annotations

from pymongo import UpdateOne

from gnomon_mongo import schema
from gnomon_mongo.documents.conversion import execution_of, sorted_fields
from gnomon_mongo.documents.foreign_documents import own
from gnomon_mongo.drivers import Document
from gnomon_mongo.server import LIST_LIMIT_S, WORK_LIMIT_S, Server

PAGE = 1_000
"""Executions in memory at a time."""


async def add_missing(server: Server) -> int:
    """Complete the documents of executions, and return how many were changed."""
    changed = 0
    after: Document = {}
    while True:
        where = {"$and": [own(schema.EXECUTIONS), {"gnomon.late": {"$exists": False}}, after]}
        async with server.reading(LIST_LIMIT_S):
            documents = await server[schema.EXECUTIONS].find(where).sort("_id", 1).limit(PAGE).to_list(None)
        updates = [
            UpdateOne({"_id": one["_id"], "version": one["version"]}, {"$set": fields})
            for one in documents
            if (fields := {f"gnomon.{name}": value for name, value in sorted_fields(execution_of(one)).items()})
        ]
        if updates:
            async with server.writing(WORK_LIMIT_S):
                await server[schema.EXECUTIONS].bulk_write(updates)
        changed += len(updates)
        if len(documents) < PAGE:
            return changed
        after = {"_id": {"$gt": documents[-1]["_id"]}}
