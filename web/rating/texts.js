/** What the widget says. */

export const texts = {
  title: (profile) => `Images to rate for ${profile || "nobody"}`,
  empty: "Run the workflow: its images appear here, to like and to dislike.",
  image: (place, count, prompt) => `Image ${place + 1} of ${count}${prompt ? `: ${prompt}` : ""}`,
  like: (place, count) => `Like image ${place + 1} of ${count}`,
  dislike: (place, count) => `Dislike image ${place + 1} of ${count}`,
  gone: "This image is gone: run again.",
  counts: (profile, liked, disliked) => `${profile}: ${liked} liked, ${disliked} disliked`,
  needsDislike: "Dislike an image too: a taste is read from pairs.",
  needsLike: "Like an image too: a taste is read from pairs.",
  undo: "Undo",
  undoTip: "Take back the last rating of this profile",
  tookBack: ({ liked, prompt }) => `Took back: ${liked ? "liked" : "disliked"}${prompt ? `, ${prompt}` : ""}`,
  notSaved: (count, why) => `${count === 1 ? "One rating is" : `${count} ratings are`} not saved. ${why}`,
  retry: "Try again",
};
