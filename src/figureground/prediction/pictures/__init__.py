"""What is made of a mask: cut-outs, outlines, COCO documents."""
