// The last of the page's scripts: everything is there.
window.Tutelage.begin();
