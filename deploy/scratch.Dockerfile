# The release image around a static binary that was built outside; see image.sh, which lays out the context.
FROM scratch
COPY --chown=65532:65532 image/ /
USER 65532:65532
EXPOSE 8080 9900
HEALTHCHECK --interval=5s --timeout=2s --start-period=1s --retries=3 CMD ["/weir", "healthcheck"]
ENTRYPOINT ["/weir"]
CMD ["run", "--docker"]
